"""What models are made of, in torch: networks, sums over histories, losses."""
