#pragma once
// Every objective by name. Adding one: its function and parameter struct in its family's file, a row in the
// family's rows_*.cpp, a row in the family's table of properties in tests/.
#include "ssl/objectives/objective.h"

namespace juxta::ssl {

std::span<const Objective* const> objectives();            // by family, in the order of rows.h
const Objective* find_objective(const std::string& name);  // null when unknown
const Objective& objective(const std::string& name);       // Error with the nearest name when unknown

// Runs the row's function on named inputs and parameter texts after checking the names of both.
Outcome run_objective(const Objective& row, const Inputs& inputs, const ParamTexts& params);

}  // namespace juxta::ssl
