"""Archives that are there: finding, looking into, proving, rescuing, copying and pruning them."""
