"""The seven invariants of METHODS' verdict, one module each: Evidence in, Check out. Pure."""
