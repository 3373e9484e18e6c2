"""The routes of the API, one module for each collection; each has its handlers in `HANDLERS`."""
