"""Who we are: certificate authority, serving certificate, rotation, trust distribution."""
