"""An integer Graph on this CPU: kernel calls, places in one memory, and the Session."""
