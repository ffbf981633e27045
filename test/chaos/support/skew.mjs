// Preloaded into a server process: its wall clock is wrong by CLOCK_SKEW_MS from the first instant on.
const skewMs = Number(process.env.CLOCK_SKEW_MS ?? 0)
const RealDate = globalThis.Date
const realNow = RealDate.now.bind(RealDate)
class SkewedDate extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(realNow() + skewMs)
    else super(...args)
  }
  static now() {
    return realNow() + skewMs
  }
}
globalThis.Date = SkewedDate
