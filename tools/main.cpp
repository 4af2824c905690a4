// juxta: train, evaluate and look into contrastive and momentum-based learners.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>

#include "tensor/error.h"
#include "tensor/file.h"
#include "tools/commands.h"

namespace {

// A user's mistake is one line and status 2; never a core dump.
int report(const std::exception& e) {
  std::fprintf(stderr, "juxta: error: %s\n", e.what());
  return juxta::tools::kBadInput;
}

// What is wrong with the command line, as every other error: in one line.
std::string command_line_fault(const CLI::App*, const CLI::Error& e) {
  return std::string("juxta: error: ") + e.what() + "; see juxta --help\n";
}

// The first argument, where it is no command: CLI11 would only say that a command is missing.
void check_command(const CLI::App& app, const std::string& name) {
  std::vector<std::string> names{"--help", "-h", "--version"};
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  const std::string near = juxta::nearest_name(name, names);
  throw juxta::Error("no command or option '" + name + "'" +
                     (near.empty() ? "" : "; did you mean '" + near + "'?") + " (juxta --help lists them)");
}

}  // namespace

namespace juxta::tools {

Subcommand::Subcommand(CLI::App& app, const char* name, const char* about)
    : command_(app.add_subcommand(name, about)) {}

void Subcommand::text(const char* name, std::string& to, const char* help, Need need) {
  command_->add_option(name, to, help)->required(need == Need::required);
}
void Subcommand::texts(const char* name, std::vector<std::string>& to, const char* help, Need need) {
  CLI::Option* option = command_->add_option(name, to, help)->required(need == Need::required);
  // An option takes one value each time, so that what follows may be an argument.
  if (name[0] == '-') option->take_all()->allow_extra_args(false);
}
void Subcommand::flag(const char* name, bool& to, const char* help) { command_->add_flag(name, to, help); }
void Subcommand::threads(int& to) {
  command_->add_option("--threads", to, "threads of the kernels [all]")->check(CLI::Range(1, 4096));
}
void Subcommand::rows(int64_t& to, const char* help) {
  command_->add_option("--rows", to, help)->check(CLI::Range(0, 1000000));
}
void Subcommand::footer(const char* text) { command_->footer(text); }

}  // namespace juxta::tools

int main(int argc, char** argv) {
  using namespace juxta::tools;
  CLI::App app{"juxta " JUXTA_VERSION
               ": contrastive and momentum-based self-supervised learning from scratch"};
  app.set_version_flag("--version", "juxta " JUXTA_VERSION);
  app.require_subcommand(1);
  app.failure_message(command_line_fault);
  const auto make = {add_train,   add_eval,       add_embed,  add_inspect, add_models,
                     add_recipes, add_objectives, add_verify, add_loss};
  Command chosen;
  for (const auto& add : make) {
    const size_t before = app.get_subcommands({}).size();
    const Command run = add(app);
    app.get_subcommands({})[before]->callback([run, &chosen] { chosen = run; });
  }
  try {
    if (argc > 1) check_command(app, argv[1]);
    app.parse(argc, argv);
  } catch (const juxta::Error& e) {
    return report(e);
  } catch (const CLI::ParseError& e) {
    const int status = app.exit(e);
    return status == 0 ? kOk : kBadInput;
  }
  try {
    const int status = chosen();
    const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
    if (!written) throw juxta::Error("cannot write to standard output; is the disk full?");
    return status;
  } catch (const juxta::Error& e) {
    return report(e);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "juxta: error: out of memory; use a smaller train.batch\n");
    return kBadInput;
  } catch (const std::exception& e) {
    return report(e);
  }
}
