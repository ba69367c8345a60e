#!/usr/bin/env python3
"""Writes the tiny random BERT of cases_embed.py. usage: make_tiny_bert.py FOLDER (replaced where it is there)"""
import pathlib
import shutil
import sys

from cases_embed import make_weights, write_model

folder = pathlib.Path(sys.argv[1])
shutil.rmtree(folder, ignore_errors=True)
write_model(folder, make_weights())
