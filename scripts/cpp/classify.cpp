// Labels raw frames with an exported model, as `activity predict` does: the mean over windows that overlap by half.
//
//     ffmpeg -i clip.mp4 -vf fps=10:round=up -f rawvideo -pix_fmt rgb24 - | classify model.ts 640 360
//
// The frames on standard input are RGB, 8 bits, so wide and high, and sample_fps of them a second.
#include <torch/script.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <iostream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

int64_t side(const std::string& name, const std::string& given) {
    int16_t pixels = 0;
    const auto end = given.data() + given.size();
    const auto [read_to, error] = std::from_chars(given.data(), end, pixels);
    if (error == std::errc() && read_to == end && pixels > 0) return pixels;
    throw std::invalid_argument(name + " is '" + given + "'; accepted: a whole number from 1 to 32767. Give the size in "
                                "pixels of the frames on standard input, first their width and then their height.");
}

int main(int count, char** arguments) try {
    if (count != 4) {
        std::cerr << "usage: classify MODEL.ts WIDTH HEIGHT < frames.rgb\n";
        return 2;
    }
    const int64_t width = side("WIDTH", arguments[2]), height = side("HEIGHT", arguments[3]);
    torch::InferenceMode inference;
    auto model = torch::jit::load(arguments[1]);
    model.eval();
    const int64_t window = model.attr("window_frames").toInt(), rgb_every = model.attr("rgb_every").toInt();

    // Features of each frame, computed once; motion is to the frame before, of which a stream keeps one. What rgb says of
    // every so many-th holds until the next: that the model takes from the feature before.
    std::vector<torch::Tensor> features;
    torch::IValue previous;
    auto frame = torch::empty({height, width, 3}, torch::kUInt8);
    size_t bytes = 0;
    while ((bytes = std::fread(frame.data_ptr(), 1, frame.nbytes(), stdin)) == frame.nbytes()) {
        const auto shown = frame.permute({2, 0, 1}).clone();  // (3, H, W)
        const auto held = features.size() % rgb_every ? torch::IValue(features.back()) : torch::IValue();
        features.push_back(model.get_method("encode")({shown.view({1, 1, 3, height, width}), previous, held}).toTensor());
        previous = shown.unsqueeze(0);
    }
    if (features.empty() || bytes != 0) {
        std::cerr << "classify: standard input is no whole number of frames of " << width << " x " << height << " pixels\n";
        return 1;
    }
    const auto sequence = torch::cat(features, 1);  // (1, T, D)
    const int64_t frames = sequence.size(1);

    std::vector<int64_t> starts;
    for (int64_t start = 0; start + window <= frames; start += std::max<int64_t>(1, window / 2)) starts.push_back(start);
    if (starts.empty() || starts.back() + window < frames) starts.push_back(std::max<int64_t>(0, frames - window));
    std::vector<torch::Tensor> scores;
    for (const auto start : starts) {
        const auto part = sequence.slice(1, start, std::min(start + window, frames));
        scores.push_back(model.get_method("classify")({part, torch::IValue()}).toTensor().softmax(1));
    }
    const auto mean = torch::cat(scores).to(torch::kDouble).mean(0);

    const auto names = model.attr("class_names").toListRef();
    std::vector<int64_t> order(names.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t one, int64_t other) {
        return mean[one].item<double>() > mean[other].item<double>();
    });
    for (const auto place : order) std::printf("%.6f %s\n", mean[place].item<double>(), names[place].toStringRef().c_str());
    return 0;
} catch (const std::exception& error) {
    std::cerr << "classify: " << error.what() << '\n';
    return 1;
}
