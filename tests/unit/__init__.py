"""Tests of single modules and pure functions. The folders mirror the packages. Time is virtual."""
