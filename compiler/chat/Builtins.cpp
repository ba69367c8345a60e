//===- Builtins.cpp - The filters, tests and methods that Jinja knows ------===//
//
// Names, and the order of their arguments, from "List of Builtin Filters" and "List of Builtin
// Tests" of Jinja's documentation; tojson as transformers defines it.
//
//===----------------------------------------------------------------------===//

#include "compiler/chat/Builtins.h"

#include "llvm/ADT/STLExtras.h"

using namespace kiln::chat;
using namespace kiln::schema;
using llvm::StringRef;

namespace {

struct FilterRecord {
  StringRef name;
  ChatFilter filter;
  unsigned required;
  unsigned count;
  StringRef parameters[4];
};

constexpr FilterRecord kFilters[] = {
    {"abs", ChatFilter_f_abs, 0, 0, {}},
    {"attr", ChatFilter_f_attr, 1, 1, {"name"}},
    {"batch", ChatFilter_f_batch, 1, 2, {"linecount", "fill_with"}},
    {"capitalize", ChatFilter_f_capitalize, 0, 0, {}},
    {"center", ChatFilter_f_center, 0, 1, {"width"}},
    {"count", ChatFilter_f_length, 0, 0, {}},
    {"d", ChatFilter_f_default, 0, 2, {"default_value", "boolean"}},
    {"default", ChatFilter_f_default, 0, 2, {"default_value", "boolean"}},
    {"dictsort", ChatFilter_f_dictsort, 0, 3, {"case_sensitive", "by", "reverse"}},
    {"e", ChatFilter_f_escape, 0, 0, {}},
    {"escape", ChatFilter_f_escape, 0, 0, {}},
    {"first", ChatFilter_f_first, 0, 0, {}},
    {"float", ChatFilter_f_float, 0, 1, {"default"}},
    {"groupby", ChatFilter_f_groupby, 1, 3, {"attribute", "default", "case_sensitive"}},
    {"indent", ChatFilter_f_indent, 0, 3, {"width", "first", "blank"}},
    {"int", ChatFilter_f_int, 0, 2, {"default", "base"}},
    {"items", ChatFilter_f_items, 0, 0, {}},
    {"join", ChatFilter_f_join, 0, 2, {"d", "attribute"}},
    {"last", ChatFilter_f_last, 0, 0, {}},
    {"length", ChatFilter_f_length, 0, 0, {}},
    {"list", ChatFilter_f_list, 0, 0, {}},
    {"lower", ChatFilter_f_lower, 0, 0, {}},
    {"max", ChatFilter_f_max, 0, 2, {"case_sensitive", "attribute"}},
    {"min", ChatFilter_f_min, 0, 2, {"case_sensitive", "attribute"}},
    {"replace", ChatFilter_f_replace, 2, 3, {"old", "new", "count"}},
    {"reverse", ChatFilter_f_reverse, 0, 0, {}},
    {"round", ChatFilter_f_round, 0, 2, {"precision", "method"}},
    {"safe", ChatFilter_f_safe, 0, 0, {}},
    {"slice", ChatFilter_f_slice, 1, 2, {"slices", "fill_with"}},
    {"sort", ChatFilter_f_sort, 0, 3, {"reverse", "case_sensitive", "attribute"}},
    {"string", ChatFilter_f_string, 0, 0, {}},
    {"sum", ChatFilter_f_sum, 0, 2, {"attribute", "start"}},
    {"title", ChatFilter_f_title, 0, 0, {}},
    {"tojson", ChatFilter_f_tojson, 0, 4, {"ensure_ascii", "indent", "separators", "sort_keys"}},
    {"trim", ChatFilter_f_trim, 0, 1, {"chars"}},
    {"truncate", ChatFilter_f_truncate, 0, 4, {"length", "killwords", "end", "leeway"}},
    {"unique", ChatFilter_f_unique, 0, 2, {"case_sensitive", "attribute"}},
    {"upper", ChatFilter_f_upper, 0, 0, {}},
    {"wordcount", ChatFilter_f_wordcount, 0, 0, {}},
};

struct TestRecord {
  StringRef name;
  TestInfo info;
};

constexpr TestRecord kTests[] = {
    {"defined", {ChatTest_t_defined, ""}},    {"undefined", {ChatTest_t_undefined, ""}},
    {"none", {ChatTest_t_none, ""}},          {"boolean", {ChatTest_t_boolean, ""}},
    {"true", {ChatTest_t_true, ""}},          {"false", {ChatTest_t_false, ""}},
    {"integer", {ChatTest_t_integer, ""}},    {"float", {ChatTest_t_float, ""}},
    {"number", {ChatTest_t_number, ""}},      {"string", {ChatTest_t_string, ""}},
    {"mapping", {ChatTest_t_mapping, ""}},    {"sequence", {ChatTest_t_sequence, ""}},
    {"iterable", {ChatTest_t_iterable, ""}},  {"callable", {ChatTest_t_callable, ""}},
    {"escaped", {ChatTest_t_escaped, ""}},    {"odd", {ChatTest_t_odd, ""}},
    {"even", {ChatTest_t_even, ""}},          {"lower", {ChatTest_t_lower, ""}},
    {"upper", {ChatTest_t_upper, ""}},        {"divisibleby", {ChatTest_t_divisibleby, "num"}},
    {"sameas", {ChatTest_t_sameas, "other"}}, {"in", {ChatTest_t_in, "seq"}},
    {"equalto", {ChatTest_t_equal, "b"}},     {"eq", {ChatTest_t_equal, "b"}},
    {"==", {ChatTest_t_equal, "b"}},          {"ne", {ChatTest_t_not_equal, "b"}},
    {"!=", {ChatTest_t_not_equal, "b"}},      {"lt", {ChatTest_t_less, "b"}},
    {"lessthan", {ChatTest_t_less, "b"}},     {"<", {ChatTest_t_less, "b"}},
    {"le", {ChatTest_t_less_equal, "b"}},     {"<=", {ChatTest_t_less_equal, "b"}},
    {"gt", {ChatTest_t_greater, "b"}},        {"greaterthan", {ChatTest_t_greater, "b"}},
    {">", {ChatTest_t_greater, "b"}},         {"ge", {ChatTest_t_greater_equal, "b"}},
    {">=", {ChatTest_t_greater_equal, "b"}},
};

} // namespace

std::optional<FilterInfo> kiln::chat::findFilter(StringRef name) {
  if (name == "format")
    return FilterInfo{ChatFilter_f_format, {}, 0, true};
  for (const FilterRecord &record : kFilters)
    if (record.name == name)
      return FilterInfo{record.filter, llvm::ArrayRef<StringRef>(record.parameters, record.count),
                        record.required, false};
  return std::nullopt;
}

std::optional<TestInfo> kiln::chat::findTest(StringRef name) {
  for (const TestRecord &record : kTests)
    if (record.name == name)
      return record.info;
  return std::nullopt;
}

bool kiln::chat::isUnsupportedFilter(StringRef name) {
  return llvm::is_contained({"filesizeformat", "forceescape", "pprint", "random", "striptags",
                             "urlencode", "urlize", "wordwrap", "xmlattr"},
                            name);
}

bool kiln::chat::isUnsupportedMethod(StringRef name) {
  return llvm::is_contained({"casefold", "encode", "expandtabs", "format_map", "fromkeys",
                             "isidentifier", "isprintable", "maketrans", "translate", "bit_length",
                             "bit_count", "as_integer_ratio", "conjugate", "is_integer", "hex",
                             "to_bytes", "from_bytes"},
                            name);
}

bool kiln::chat::isUnsupportedGlobal(StringRef name) {
  return llvm::is_contained({"cycler", "joiner", "lipsum", "self", "super"}, name);
}
