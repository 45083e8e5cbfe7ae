"""Device kinds, behind one contract (base.py); disk templates are laid out in layout.py."""
