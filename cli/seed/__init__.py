"""Believable data for a development stack: two groups of clinics, their doctors, hours and fees."""
