"""ganeti-rapi: the remote API over HTTPS, a LUXI client."""
