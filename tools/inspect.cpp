// juxta inspect: what a weights file or checkpoint holds; with --recipe, the model as a table and the memory
// of one step by op.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <set>

#include "autograd/ops.h"
#include "autograd/record.h"
#include "ssl/train/trainer.h"
#include "tensor/allocator.h"
#include "tools/commands.h"

namespace juxta::tools {

namespace {

struct Options {
  std::string file, recipe, data;
  std::vector<std::string> set;
};

int inspect_file(const std::string& path) {
  const SafeTensors file = load_safetensors(path);
  int64_t elements = 0, bytes = 0;
  for (const auto& [name, t] : file.tensors) {
    std::printf("%-60s %-5s %s\n", name.c_str(), name_of(t.dtype()), to_text(t.dims()).c_str());
    elements += t.numel();
    bytes += t.bytes();
  }
  for (const auto& [key, value] : file.metadata)
    std::printf("metadata %s: %s\n", key.c_str(),
                value.size() > 200 ? concat(value.size(), " characters").c_str() : value.c_str());
  std::printf("%zu tensors, %lld elements, %lld bytes\n", file.tensors.size(),
              static_cast<long long>(elements), static_cast<long long>(bytes));
  const auto recipe = file.metadata.find("juxta.recipe");
  if (recipe != file.metadata.end()) std::printf("\nrecipe:\n%s", recipe->second.c_str());
  return kOk;
}

// Sums, per op, what it computes and what its backward keeps; a storage saved twice counts once.
struct MemoryByOp : OpObserver {
  struct Row {
    int64_t calls = 0, output = 0, saved = 0;
  };
  std::map<std::string, Row> rows;
  std::set<const Storage*> seen;
  std::vector<Ref<Storage>> alive;  // addresses in `seen` stay unique while their storages live
  void forward(const char* op, std::span<const Attr>, std::span<const Var* const>,
               std::span<const Tensor> outputs, std::span<const Saved> saved) override {
    Row& r = rows[op];
    ++r.calls;
    for (const Tensor& t : outputs) r.output += t.bytes();
    for (const Saved& s : saved) {
      if (!s.tensor.defined() || !seen.insert(s.tensor.storage().get()).second) continue;
      alive.push_back(s.tensor.storage());
      r.saved += s.tensor.bytes();
    }
  }
  void backward(const char*, std::span<const Tensor>, std::span<const Tensor>) override {}
};

// One batch of grey images, as large as those of the data set where there is one.
ssl::ImageData batch_like(const ssl::Recipe& r) {
  int64_t height = r.model.image_size, width = height, channels = r.model.in_channels;
  const bool known = !r.data.path.empty() && std::filesystem::exists(r.data.path);
  if (known) {
    const ssl::ImageData set =
        ssl::load_images(r.data.path, {.strict = r.data.strict, .image_size = r.data.image_size});
    height = set.train.images.size(1), width = set.train.images.size(2), channels = set.train.channels();
  }
  std::printf("images of %lld x %lld x %lld (%s)\n", static_cast<long long>(height),
              static_cast<long long>(width), static_cast<long long>(channels),
              known ? r.data.path.c_str() : "assumed; --data PATH tells");
  ssl::ImageData data;
  data.train.images = Tensor::full({r.train.batch, height, width, channels}, 128, DType::u8);
  data.train.labels = Tensor::zeros({r.train.batch}, DType::i64);
  data.train.classes = {"0"};
  data.train.source = "inspect";
  return data;
}

int inspect_recipe(const Options& o) {
  ssl::Recipe recipe = ssl::load_recipe(o.recipe, o.set);
  if (!o.data.empty()) {
    JX_CHECK(std::filesystem::exists(o.data), "inspect: --data ", o.data, ": no such file or folder");
    recipe.data.path = o.data;
  }
  recipe.train.max_steps = 1;
  recipe.train.epochs = std::max<int64_t>(1, recipe.train.epochs);
  const int64_t part = recipe.train.batch / recipe.train.accumulate;  // what the network holds at a time
  const ssl::ImageData data = batch_like(recipe);
  ssl::Trainer trainer(recipe, data);
  int64_t total = 0;
  const nn::NamedState state = nn::named_state(recipe.method->encoder());
  std::printf("%s, %s:\n", recipe.method_name.c_str(), recipe.model.name.c_str());
  for (const auto& p : state.parameters) {
    std::printf("  %-52s %-18s %10lld\n", p.name.c_str(), to_text(p.var->dims()).c_str(),
                static_cast<long long>(p.var->numel()));
    total += p.var->numel();
  }
  std::printf("  %lld parameters in the encoder\n\n", static_cast<long long>(total));

  MemoryByOp memory;
  allocator(kCpu).reset_peak();
  {
    const ObserverScope listen(memory);
    ssl::Loader loader(data.train, recipe.method->views(recipe.view), {.batch = part, .workers = 0});
    ssl::StepContext context;
    context.chunk = recipe.train.chunk;
    Rng rng(0, "dropout");
    context.nn = {.training = true, .rng = &rng};
    context.minimize = [](const Var& loss) {
      backward(loss);
      return true;
    };
    recipe.method->step(loader.next(), context);
  }
  std::vector<std::pair<std::string, MemoryByOp::Row>> rows(memory.rows.begin(), memory.rows.end());
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.second.saved > b.second.saved; });
  std::printf("one step of %lld images%s, memory by op (MiB):\n  %-22s %6s %10s %10s\n",
              static_cast<long long>(part), recipe.train.accumulate > 1 ? " (a part of the batch)" : "", "op",
              "calls", "computed", "saved");
  const auto mib = [](int64_t b) { return static_cast<double>(b) / 1048576.0; };
  int64_t saved = 0;
  for (const auto& [op, r] : rows) {
    std::printf("  %-22s %6lld %10.2f %10.2f\n", op.c_str(), static_cast<long long>(r.calls), mib(r.output),
                mib(r.saved));
    saved += r.saved;
  }
  std::printf("  saved for backward %.1f MiB; peak of the allocator %.1f MiB\n", mib(saved),
              mib(static_cast<int64_t>(allocator(kCpu).stats().peak_bytes)));
  return kOk;
}

}  // namespace

Command add_inspect(CLI::App& app) {
  auto o = std::make_shared<Options>();
  Subcommand c(app, "inspect", "look into a checkpoint, a weights file or a recipe");
  c.text("FILE", o->file, "safetensors file");
  c.text("--recipe", o->recipe, "model table and memory of one step by op");
  c.text("--data", o->data, "with --recipe: the data set, for the size of its images [the recipe's]");
  c.texts("--set", o->set, "a.b=c: override one key of the recipe");
  return [o] {
    JX_CHECK(o->file.empty() != o->recipe.empty(), "inspect: give either a FILE or --recipe NAME");
    JX_CHECK(o->file.empty() || (o->set.empty() && o->data.empty()),
             "inspect: --set and --data go with --recipe, not with a FILE");
    return o->recipe.empty() ? inspect_file(o->file) : inspect_recipe(*o);
  };
}

}  // namespace juxta::tools
