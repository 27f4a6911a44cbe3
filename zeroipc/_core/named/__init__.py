"""The algorithms of the named structures, in C and in pure Python; see pure.py."""
