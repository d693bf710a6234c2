//! Agreement with `models/reference.json`, and what no reference says.
