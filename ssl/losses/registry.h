#pragma once
// Every loss by name. Adding one: its function and parameter struct in its family's file, a row in
// registry.cpp, a row in the table of properties in tests/losses_test.cpp.
#include "ssl/losses/objective.h"

namespace juxta::ssl {

std::span<const Objective* const> loss_objectives();       // in the order of the method cards
const Objective* find_loss(const std::string& name);       // null when unknown
const Objective& loss_objective(const std::string& name);  // Error with the nearest name when unknown

// Runs the row's function on named inputs and parameter texts after checking the names of both.
Loss run_objective(const Objective& row, const Inputs& inputs, const ParamTexts& params);

}  // namespace juxta::ssl
