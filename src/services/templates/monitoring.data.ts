import { field, inputs, tell, webhook, type Template } from './template.ts'

export const monitoring: Template[] = [
  {
    slug: 'uptime-check',
    category: 'monitoring',
    definition: {
      name: 'Uptime check',
      description: 'Asks each address for an answer and lists those that give none, or one outside 2xx.',
      inputs: inputs({ urls: field.uris('Addresses to ask.'), webhook_url: webhook }, 'urls'),
      steps: [
        {
          id: 'each',
          kind: 'foreach',
          items: { $expr: 'input.urls' },
          as: 'url',
          concurrency: 8,
          steps: [
            {
              id: 'ping',
              kind: 'http',
              request: { method: 'GET', url: '{{ url }}' },
              parse: 'text',
              timeout: '15s',
              on_error: 'continue',
            },
            {
              id: 'verdict',
              kind: 'transform',
              value: {
                url: '{{ url }}',
                up: { $expr: 'steps.ping.error == null' },
                status: { $expr: 'get(steps.ping, "output.status", get(steps.ping, "error.status"))' },
              },
            },
          ],
        },
        { id: 'down', kind: 'transform', value: { $expr: 'steps.each.output.filter(one, !one.up)' } },
        tell(
          'alert',
          { text: '{{ steps.down.output.size }} down', down: { $expr: 'steps.down.output' } },
          'size(steps.down.output) > 0',
        ),
      ],
      output: { checked: { $expr: 'size(steps.each.output)' }, down: { $expr: 'steps.down.output' } },
    },
    example: { urls: ['https://www.example.com/'] },
  },
  {
    slug: 'page-watch',
    category: 'monitoring',
    definition: {
      name: 'Page watch',
      description:
        'Tells when the text of a page differs from that of the last run. Give runs of one page a state_key, or a schedule.',
      inputs: inputs({ url: field.uri('The page.'), webhook_url: webhook }, 'url'),
      steps: [
        {
          id: 'page',
          kind: 'http',
          request: { method: 'GET', url: '{{ input.url }}' },
          parse: 'html_text',
          retry: { max_attempts: 3 },
        },
        {
          id: 'look',
          kind: 'transform',
          value: {
            fingerprint: { $expr: 'hash(steps.page.output.body)' },
            changed: {
              $expr: 'previous != null && get(previous, "output.fingerprint") != hash(steps.page.output.body)',
            },
          },
        },
        tell(
          'alert',
          { text: '{{ input.url }} has changed', excerpt: { $expr: 'slice(steps.page.output.body, 0, 1000)' } },
          'steps.look.output.changed',
        ),
      ],
      output: { $expr: 'steps.look.output' },
    },
    example: { url: 'https://www.example.com/' },
  },
  {
    slug: 'threshold-alert',
    category: 'monitoring',
    definition: {
      name: 'Threshold alert',
      description: 'Reads a figure from a JSON API and tells when it is outside its bounds.',
      inputs: inputs(
        {
          url: field.uri('The API.'),
          path: field.text('Where the figure is in the answer, such as data.price or items[0].count.'),
          above: field.number('Tell when it is above this.'),
          below: field.number('Tell when it is below this.'),
          webhook_url: webhook,
        },
        'url',
        'path',
      ),
      steps: [
        {
          id: 'read',
          kind: 'http',
          request: { method: 'GET', url: '{{ input.url }}' },
          parse: 'json',
          retry: { max_attempts: 3 },
        },
        { id: 'value', kind: 'transform', value: { $expr: 'get(steps.read.output.body, input.path)' } },
        {
          id: 'missing',
          kind: 'fail',
          when: 'type(steps.value.output) != "number"',
          message: 'There is no number at {{ input.path }}.',
          reason: 'no-number',
        },
        {
          id: 'verdict',
          kind: 'transform',
          value: {
            $expr:
              'has(input.above) && steps.value.output > input.above ? "above" : has(input.below) && steps.value.output < input.below ? "below" : "within"',
          },
        },
        tell(
          'alert',
          {
            text: '{{ input.path }} is {{ steps.value.output }}: {{ steps.verdict.output }}',
            value: { $expr: 'steps.value.output' },
          },
          'steps.verdict.output != "within"',
        ),
      ],
      output: { value: { $expr: 'steps.value.output' }, verdict: { $expr: 'steps.verdict.output' } },
    },
    example: { url: 'https://api.example.com/rates', path: 'data.rate', above: 1.2 },
  },
]
