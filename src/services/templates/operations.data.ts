import { field, inputs, type Template } from './template.ts'

export const operations: Template[] = [
  {
    slug: 'delayed-message',
    category: 'operations',
    definition: {
      name: 'Delayed message',
      description: 'Waits, without holding a process, and then sends a message to a webhook.',
      inputs: inputs(
        {
          delay: {
            type: 'string',
            pattern: '^[0-9]+(ms|s|m|h|d)$',
            description: 'How long to wait, such as 30m or 2d.',
          },
          message: field.text('What to send.'),
          webhook_url: field.uri('Gets the message as a POST.'),
        },
        'delay',
        'message',
        'webhook_url',
      ),
      steps: [
        { id: 'hold', kind: 'wait', duration: '{{ input.delay }}' },
        {
          id: 'send',
          kind: 'http',
          request: {
            method: 'POST',
            url: '{{ input.webhook_url }}',
            body: { text: '{{ input.message }}', asked_at: '{{ now }}' },
          },
          retry: { max_attempts: 5 },
        },
      ],
      output: { $expr: 'steps.send.output.status' },
    },
    example: { delay: '1h', message: 'Check the backup.', webhook_url: 'https://hooks.example.com/reminders' },
  },
  {
    slug: 'fallback-source',
    category: 'operations',
    definition: {
      name: 'Source with a fallback',
      description: 'Reads from one address and, where that fails, from another; says which one answered.',
      inputs: inputs(
        { first_url: field.uri('Asked first.'), second_url: field.uri('Asked where the first fails.') },
        'first_url',
        'second_url',
      ),
      steps: [
        {
          id: 'first',
          kind: 'http',
          request: { method: 'GET', url: '{{ input.first_url }}' },
          timeout: '20s',
          on_error: 'continue',
        },
        {
          id: 'second',
          kind: 'http',
          when: 'steps.first.error != null',
          request: { method: 'GET', url: '{{ input.second_url }}' },
          timeout: '20s',
          retry: { max_attempts: 3 },
        },
      ],
      output: {
        source: { $expr: 'steps.first.error == null ? input.first_url : input.second_url' },
        body: { $expr: 'steps.first.error == null ? steps.first.output.body : steps.second.output.body' },
      },
    },
    example: { first_url: 'https://one.example.com/rates', second_url: 'https://two.example.com/rates' },
  },
  {
    slug: 'batch-requests',
    category: 'operations',
    definition: {
      name: 'Batch of requests',
      description: 'Sends a body to each address of a list, a few at a time, and accounts for every one.',
      inputs: inputs(
        {
          urls: field.uris('Each gets the body as a POST.', 500),
          body: { type: 'object', description: 'What to send, as JSON.' },
        },
        'urls',
        'body',
      ),
      steps: [
        {
          id: 'each',
          kind: 'foreach',
          items: { $expr: 'input.urls' },
          as: 'url',
          concurrency: 4,
          steps: [
            {
              id: 'send',
              kind: 'http',
              request: { method: 'POST', url: '{{ url }}', body: { $expr: 'input.body' } },
              retry: { max_attempts: 3 },
              on_error: 'continue',
            },
            {
              id: 'account',
              kind: 'transform',
              value: { url: '{{ url }}', error: { $expr: 'get(steps.send, "error.kind")' } },
            },
          ],
        },
      ],
      output: {
        sent: { $expr: 'size(steps.each.output.filter(a, a.error == null))' },
        failed: { $expr: 'steps.each.output.filter(a, a.error != null)' },
      },
    },
    example: { urls: ['https://hooks.example.com/a'], body: { event: 'released' } },
  },
]
