"""The routes, one file per noun. A router calls a repository (reads) or the gateway (commands); it holds no rule."""
