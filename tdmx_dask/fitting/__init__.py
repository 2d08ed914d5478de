"""Stan fits: programs, engines in child processes, the policy of chains, and futures over them.

Laws of this floor: a chain's draws depend on its task alone (program, data, seed, chain, round, attempt, start), never on who ran it or
what ran beside it; an engine runs in a child process, which dies with the one that asked for it; `distributed` is imported in
`futures` alone.
"""
