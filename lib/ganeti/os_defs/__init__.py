"""Guest OS definitions: finding them, their environment, running their scripts."""
