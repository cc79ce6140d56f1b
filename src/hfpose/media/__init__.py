"""Pictures, videos and cameras in, results out: `images` and `sources` read, `writers` and `formats` write."""
