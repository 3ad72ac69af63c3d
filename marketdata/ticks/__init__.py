"""Single trades and quotes: reading, checking, storing, and the bars made of them."""
