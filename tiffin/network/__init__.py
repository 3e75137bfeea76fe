"""Links: the bridge, addresses, published ports."""
