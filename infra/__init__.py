"""Where the functions run: on AWS, or all of them on one machine."""
