"""Where sessions are run: this host, one of its devices, a node of a cluster; and how they are dealt to free places."""
