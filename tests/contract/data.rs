//! Lines 5 to 9: what becomes of data.
