#!/usr/bin/env python3
"""Chats with a compiled model, one line of input at a time. usage: chat.py MODEL.kiln"""
import sys

import kiln

model = kiln.LanguageModel(sys.argv[1])
session = model.session()
while True:
    try:
        line = input("> ")
    except EOFError:
        break
    # Without a chat template the model goes on with the text, as one that tells stories does.
    session.append([{"role": "user", "content": line}] if model.has_chat_template else line)
    for text in session.stream(max_tokens=200):
        print(text, end="", flush=True)
    print()
