"""Arithmetic on arrays: what a dose does to a concentration, and which MIC that concentration still beats.

Laws of this floor: arrays in, arrays out, no labels, no files, no threads, no clock and no random state of its own. A result of one
row (one profile) depends on that row alone, so any split into blocks gives the same bits. Functions take their array namespace
from their arguments (NumPy, CuPy). Nothing here imports Dask, xarray or pandas.

=====================  ===================================================================================
``disposition``        parameters of one to three compartments → rates and shares of the exponentials
``interval``           one dosing interval (steady state, first, n-th): rise and fall in closed form
``exceedance``         the concentration that an interval exceeds during a fraction of it
``course``             any dose history, any window: exponentials between events
``course_exceedance``  the same question of a course: joint steps in the level and the crossings, every row checked;
                       on ``branches`` (its monotone pieces), from ``chords`` (a first guess), else ``nested`` (brackets)
``counts``             attainment counted at a grid of MICs
``random``             normals and uniforms that belong to (seed, purpose, chain, block of draws, subject)
``intervals``          how a PTA gets its uncertainty; ``deconvolution`` takes the subjects' noise out of it
``ess``                effective number of draws behind a mean
``convergence``        R-hat, ESS of bulk and tails, Monte-Carlo errors, energies
``pareto``             the tail of importance ratios and its k-hat
=====================  ===================================================================================
"""
