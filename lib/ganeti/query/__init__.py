"""Lists: what can be asked about each kind of object, and the engine that answers."""
