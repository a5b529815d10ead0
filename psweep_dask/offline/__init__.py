"""Runs by job scripts: prepared here, submitted by hand or on another machine, collected later."""
