"""The same work on tiffin and on a peer, interleaved in one run, as ratios."""
