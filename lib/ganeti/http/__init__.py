"""The HTTPS server and client that the daemons share."""
