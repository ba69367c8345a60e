#include "ir/Graph/GraphDialect.h"
