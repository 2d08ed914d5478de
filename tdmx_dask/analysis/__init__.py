"""Labelled results from kernels: which numbers a target needs, how a run is cut into tasks, and what is made of the counts.

Laws of this floor: a block of work is an address (chain, draws, subjects) that a task reads for itself; what comes back are integers
that add in any order; the same task function runs when called directly, on threads and on a cluster. Dask is imported only inside
the functions that build or run a graph; ``distributed`` not at all.

=================  ======================================================================================
``exposure``       (regimen, target) → the kernel that answers it, shared between regimens that differ in dose
``plan``           what is to be computed, and its blocks
``inputs``         what a user may give as draws → arrays, lazy variables or a store that tasks read
``evaluate``       one block: critical MICs or counts
``execute``        blocks run directly or on threads; delayed tasks for every scheduler
``summarise``      counts → PTA with its interval
``response``       PTA → CFR
=================  ======================================================================================
"""
