"""The page `/tdmx` of a scheduler's dashboard.

`board` hears events and keeps what they said, `words` and the sections make HTML of it, `curve` draws the PTA, `document` puts them on a
page, `serve` puts the page on the scheduler's own server. All of it runs on the scheduler's event loop: it is bounded in size and time, and
does nothing while no page is open but to keep what it hears.
"""
