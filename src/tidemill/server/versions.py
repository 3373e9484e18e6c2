"""Which API is spoken here."""

# Of the field's API, as its clients ask for it: they want their own major version, and one that is not older than theirs.
SPOKEN_VERSION = "3.9.1"
