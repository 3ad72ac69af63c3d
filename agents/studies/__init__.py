"""Studies: what is drawn, learned and compared before a training may publish anything."""
