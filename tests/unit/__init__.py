"""Tests of single modules and pure functions; the folders mirror the packages. Time is virtual."""
