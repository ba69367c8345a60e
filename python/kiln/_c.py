"""The C interface of libkiln (kiln/kiln.h, kiln/chat.h, kiln/llm.h) for ctypes: structures and signatures, nothing
else. The library is libkiln beside this file, or the file that the environment variable KILN_LIBRARY names."""
import ctypes
import os
import pathlib
from ctypes import (CFUNCTYPE, POINTER, Structure, c_char, c_char_p, c_float, c_int, c_int32, c_size_t, c_uint32,
                    c_uint64, c_void_p)

OK, BUFFER_TOO_SMALL, CANCELLED, NO_CHAT_TEMPLATE = 0, 3, 6, 70
ENCODE_TEMPLATE, ENCODE_SPECIAL_AS_TEXT, DECODE_SKIP_SPECIAL = 1, 2, 1


class Error(Structure):
    _fields_ = [("text", c_char * 256)]


class LogitBias(Structure):
    _fields_ = [("id", c_int32), ("bias", c_float)]


class SamplerOptions(Structure):
    _fields_ = [("logit_bias", POINTER(LogitBias)), ("logit_bias_count", c_size_t), ("repetition_penalty", c_float),
                ("presence_penalty", c_float), ("frequency_penalty", c_float), ("penalty_window", c_uint32),
                ("temperature", c_float), ("top_k", c_uint32), ("top_p", c_float), ("min_p", c_float),
                ("typical_p", c_float), ("seed", c_uint64)]


class TokenLogprob(Structure):
    _fields_ = [("id", c_int32), ("logprob", c_float)]


class Logprobs(Structure):
    _fields_ = [("chosen", c_float), ("top_count", c_size_t), ("top", POINTER(TokenLogprob)),
                ("top_capacity", c_size_t)]


class LlmOptions(Structure):
    _fields_ = [("max_sequences", c_uint32), ("context_length", c_uint32), ("cache_pages", c_uint32),
                ("chunk", c_uint32)]


class LlmInfo(Structure):
    _fields_ = [("vocab_size", c_uint32), ("context_length", c_uint32), ("page_size", c_uint32),
                ("max_sequences", c_uint32), ("chunk", c_uint32), ("cache_pages", c_uint32),
                ("cache_pages_free", c_uint32), ("cache_bytes", c_uint64), ("workspace_bytes", c_uint64),
                ("bos_token", c_int32), ("add_bos", c_int), ("eos_tokens", POINTER(c_int32)),
                ("eos_token_count", c_size_t), ("sampler", SamplerOptions)]


class Stats(Structure):
    _fields_ = [("prompt_tokens", c_uint64), ("prompt_ns", c_uint64), ("generated_tokens", c_uint64),
                ("generated_ns", c_uint64), ("stop", c_int), ("stop_index", c_size_t)]


TokenFn = CFUNCTYPE(c_int, c_void_p, c_int32, c_void_p, c_size_t)


class GenerateOptions(Structure):
    _fields_ = [("max_tokens", c_size_t), ("ignore_end_tokens", c_int), ("stop_tokens", POINTER(c_int32)),
                ("stop_token_count", c_size_t), ("sampler", c_void_p), ("on_token", TokenFn), ("user", c_void_p),
                ("stop_strings", POINTER(c_char_p)), ("stop_string_count", c_size_t), ("logprobs", POINTER(Logprobs))]


class EncoderInfo(Structure):
    _fields_ = [("vocab_size", c_uint32), ("dimensions", c_uint32), ("context_length", c_uint32),
                ("max_tokens", c_uint32), ("pooling", c_int), ("normalized", c_int)]


class Text(Structure):
    _fields_ = [("data", c_char_p), ("size_bytes", c_size_t)]


class ChatMessage(Structure):
    _fields_ = [("role", c_char_p), ("content", c_char_p), ("content_bytes", c_size_t)]


# name: (result, arguments). A sequence is a c_uint32, bytes go as c_char_p with a size, NULL is None.
_ERROR, _IDS, _SIZE, _FLOATS = POINTER(Error), POINTER(c_int32), POINTER(c_size_t), POINTER(c_float)
_SIGNATURES = {
    "kiln_status_text": (c_char_p, [c_int]),
    "kiln_model_fact": (c_char_p, [c_void_p, c_char_p]),
    "kiln_model_target": (c_char_p, [c_void_p]),
    "kiln_chat_open": (c_int, [c_void_p, POINTER(c_void_p), _ERROR]),
    "kiln_chat_close": (None, [c_void_p]),
    "kiln_tokenizer_encode": (c_int, [c_void_p, c_char_p, c_size_t, c_uint32, _IDS, c_size_t, _SIZE, _ERROR]),
    "kiln_tokenizer_decode": (c_int, [c_void_p, _IDS, c_size_t, c_uint32, c_char_p, c_size_t, _SIZE, _ERROR]),
    "kiln_sampler_defaults": (SamplerOptions, []),
    "kiln_sampler_create": (c_int, [POINTER(SamplerOptions), c_size_t, POINTER(c_void_p), _ERROR]),
    "kiln_sampler_destroy": (None, [c_void_p]),
    "kiln_llm_open": (c_int, [c_char_p, c_uint32, POINTER(LlmOptions), POINTER(c_void_p), _ERROR]),
    "kiln_llm_destroy": (None, [c_void_p]),
    "kiln_llm_model": (c_void_p, [c_void_p]),
    "kiln_llm_tokenizer": (c_void_p, [c_void_p]),
    "kiln_llm_get_info": (None, [c_void_p, POINTER(LlmInfo)]),
    "kiln_llm_cancel": (None, [c_void_p]),
    "kiln_llm_uncancel": (None, [c_void_p]),
    "kiln_sequence_open": (c_int, [c_void_p, POINTER(c_uint32), _ERROR]),
    "kiln_sequence_close": (c_int, [c_void_p, c_uint32, _ERROR]),
    "kiln_sequence_tokens": (_IDS, [c_void_p, c_uint32, POINTER(c_uint32)]),
    "kiln_sequence_truncate": (c_int, [c_void_p, c_uint32, c_uint32, _ERROR]),
    "kiln_sequence_fork": (c_int, [c_void_p, c_uint32, POINTER(c_uint32), _ERROR]),
    "kiln_sequence_set_overflow": (c_int, [c_void_p, c_uint32, c_int, c_uint32, _ERROR]),
    "kiln_sequence_append": (c_int, [c_void_p, c_uint32, _IDS, c_size_t, c_void_p, c_void_p, _ERROR]),
    "kiln_sequence_append_text": (c_int, [c_void_p, c_uint32, c_char_p, c_size_t, c_uint32, _ERROR]),
    "kiln_sequence_assign_messages": (c_int, [c_void_p, c_uint32, c_void_p, POINTER(ChatMessage), c_size_t, c_void_p,
                                              _SIZE, _ERROR]),
    "kiln_sequence_generate": (c_int, [c_void_p, c_uint32, _IDS, c_size_t, POINTER(GenerateOptions), POINTER(Stats),
                                       _ERROR]),
    "kiln_sequence_save_path": (c_int, [c_void_p, c_uint32, c_char_p, _ERROR]),
    "kiln_encoder_open": (c_int, [c_char_p, c_uint32, POINTER(c_void_p), _ERROR]),
    "kiln_encoder_destroy": (None, [c_void_p]),
    "kiln_encoder_get_info": (None, [c_void_p, POINTER(EncoderInfo)]),
    "kiln_encoder_cancel": (None, [c_void_p]),
    "kiln_encoder_embed": (c_int, [c_void_p, POINTER(Text), c_size_t, _FLOATS, _SIZE, _ERROR]),
    "kiln_encoder_embed_tokens": (c_int, [c_void_p, _IDS, _IDS, _SIZE, c_size_t, _FLOATS, _ERROR]),
    "kiln_sequence_restore_path": (c_int, [c_void_p, c_uint32, c_char_p, _ERROR]),
}


def _load():
    path = os.environ.get("KILN_LIBRARY") or str(pathlib.Path(__file__).with_name("libkiln.so"))
    library = ctypes.CDLL(path)
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


lib = _load()
