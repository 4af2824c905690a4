#pragma once
// Subcommands of the juxta program, one file each. Each adds itself to the command line and returns what to
// run when it is chosen.
#include <CLI/CLI.hpp>
#include <functional>

namespace juxta::tools {

// Exit statuses: 0 done; 1 the command ran and its answer is no (verification failed); 2 bad input, one line
// on stderr.
inline constexpr int kOk = 0, kNo = 1, kBadInput = 2;
using Command = std::function<int()>;

Command add_train(CLI::App& app);
Command add_eval(CLI::App& app);
Command add_embed(CLI::App& app);
Command add_inspect(CLI::App& app);
Command add_models(CLI::App& app);
Command add_recipes(CLI::App& app);
Command add_objectives(CLI::App& app);
Command add_verify(CLI::App& app);
Command add_loss(CLI::App& app);

}  // namespace juxta::tools
