"""What all tests share: modules beside this file, such as ``strategies``, import by their names."""
