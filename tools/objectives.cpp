// juxta objectives: what the registry holds.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "ssl/objectives/registry.h"
#include "tools/commands.h"

namespace juxta::tools {

namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string name;
  bool json = false;
};

std::vector<ssl::ParamInfo> params_of(const ssl::Objective& row) {
  ssl::Params listing(row.name);
  row.list(listing);
  return listing.infos();
}

Json to_json(const ssl::Objective& row) {
  Json j{{"name", row.name},           {"kind", to_text(row.kind)}, {"system", row.system},
         {"paper", row.paper},         {"equation", row.equation},  {"inputs", Json::array()},
         {"parameters", Json::array()}};
  for (const ssl::InputRow& i : row.inputs)
    j["inputs"].push_back(
        {{"name", i.name}, {"shape", i.shape}, {"optional", i.optional}, {"image", i.image}});
  for (const ssl::ParamInfo& p : params_of(row)) {
    Json param{{"name", p.name}, {"type", p.type}, {"default", Json::parse(p.value)}};
    if (!p.choices.empty()) param["choices"] = p.choices;
    j["parameters"].push_back(param);
  }
  return j;
}

void print_row(const ssl::Objective& row) {
  std::printf("%s (%s)\n  system      %s\n  paper       %s\n  equation    %s\n", row.name, to_text(row.kind),
              row.system, row.paper, row.equation);
  for (const ssl::InputRow& i : row.inputs)
    std::printf("  input       %-22s %s%s%s\n", i.name, i.shape, i.optional ? ", optional" : "",
                i.image ? ", image map: [.., C, H, W] in files" : "");
  for (const ssl::ParamInfo& p : params_of(row)) {
    std::string choices;
    for (const std::string& c : p.choices) choices += (choices.empty() ? " of " : ", ") + c;
    std::printf("  parameter   %-22s %s (%s%s)\n", p.name.c_str(), p.value.c_str(), p.type.c_str(),
                choices.c_str());
  }
}

int run_objectives(const Options& o) {
  if (!o.name.empty()) {
    const ssl::Objective& row = ssl::objective(o.name);
    if (o.json)
      std::printf("%s\n", to_json(row).dump(2).c_str());
    else
      print_row(row);
    return kOk;
  }
  Json all = Json::array();
  for (const ssl::Objective* row : ssl::objectives()) {
    if (o.json)
      all.push_back(to_json(*row));
    else
      std::printf("%-28s %-7s %-28s %s\n", row->name, to_text(row->kind), row->system, row->paper);
  }
  if (o.json) std::printf("%s\n", all.dump(2).c_str());
  return kOk;
}

}  // namespace

Command add_objectives(CLI::App& app) {
  Subcommand c(app, "objectives", "list the objectives, or describe one");
  auto o = std::make_shared<Options>();
  c.text("NAME", o->name, "one objective: inputs, parameters, equation");
  c.flag("--json", o->json, "print JSON");
  return [o] { return run_objectives(*o); };
}

}  // namespace juxta::tools
