"""Where the submitted task runs of a flow run execute: threads, processes, one after the other, or a Dask cluster."""
