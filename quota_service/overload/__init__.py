"""Back-pressure: classes of work, how much of each may be at work, how fast a caller may ask."""
