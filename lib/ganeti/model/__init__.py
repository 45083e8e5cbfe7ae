"""Configuration objects, parameter tables and inheritance, ssconf values."""
