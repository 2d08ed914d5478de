"""The queue: requests that outlive the process that made them, run in an order that is fair, and answered exactly once.

Laws of this floor: a state changes by the table of `state` alone; what is written is on the disk before anyone is told; a job is a value
(its kind, its spec in plain JSON, digests of its data), never a pickled object; what runs for a job runs in a process that can be ended.
"""
