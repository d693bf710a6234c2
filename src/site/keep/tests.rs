//! What is old is renewed, what is damaged is deleted, and nothing else.
