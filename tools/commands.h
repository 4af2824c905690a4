#pragma once
// Subcommands of the juxta program, one file each. Each adds itself to the command line and returns what to
// run when it is chosen.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace juxta::tools {

// Exit statuses: 0 done; 1 the command ran and its answer is no (verification failed); 2 bad input, one line
// on stderr.
inline constexpr int kOk = 0, kNo = 1, kBadInput = 2;
using Command = std::function<int()>;

enum class Need { optional, required };

// One subcommand and what may follow it. The variables keep their values where the user gives none, and must
// live until the command line is parsed. Only main.cpp includes CLI11: its code would be compiled into every
// subcommand.
class Subcommand {
 public:
  Subcommand(CLI::App& app, const char* name, const char* about);
  // NAME is an argument by position; --name, or -n,--name, an option.
  void text(const char* name, std::string& to, const char* help, Need need = Need::optional);
  void texts(const char* name, std::vector<std::string>& to, const char* help, Need need = Need::optional);
  void flag(const char* name, bool& to, const char* help);
  void threads(int& to);
  void rows(int64_t& to, const char* help);
  void footer(const char* text);

 private:
  CLI::App* command_;
};

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
