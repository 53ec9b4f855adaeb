"""Files that are read and written whole: the model file, and how any file is read or replaced."""
